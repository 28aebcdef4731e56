"""Implementations of `shared.ports`: S3, SQS, Secrets Manager, ECS, directories, local processes, forges, the clock.

This is the only package of `shared` that may use boto3, HTTP clients, real time and random ids. An adapter translates: it
returns values of its port and raises errors of `shared.domain.errors`, never those of a library. Adapters do not import each
other, except within a family; import-linter lists the families.
"""
