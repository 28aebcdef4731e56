"""The credentials API: gives the generation of an agent the credential with which it pushes."""
