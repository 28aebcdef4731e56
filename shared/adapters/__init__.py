"""The outside world behind the ports of `shared.domain.ports`.

The only package that may know boto3, HTTP, the clock or chance. Adapters translate: what leaves them is a value or an
error of `shared.domain.errors`, never one of a library.
"""
