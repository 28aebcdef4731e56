"""The views of the page. Each turns answers of the API into markup, and computes nothing about a town."""
