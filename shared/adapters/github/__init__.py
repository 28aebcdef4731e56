"""Pull requests at GitHub: `pulls` is the adapter; the other modules are its parts."""
