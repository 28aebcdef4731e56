"""How a town's image is kept: head object, LTX blob, commit protocol, inbox objects, due markers. No other
package knows.
"""
