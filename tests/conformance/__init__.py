"""Cases that an independent implementation of the rules decided; see __main__ for the runner."""
