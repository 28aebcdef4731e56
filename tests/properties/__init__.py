"""What holds for every history of a town: random facts, random time, random behaviour of the outside."""
