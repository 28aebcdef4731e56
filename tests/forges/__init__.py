"""What every forge promises through the port: scenarios that both adapters play on their fakes, and the table of them in docs."""
