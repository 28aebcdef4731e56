"""What a fleet costs in a month: list prices, measured counts of requests, and the page that multiplies the two."""
