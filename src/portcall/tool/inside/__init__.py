"""What runs inside the process of a python step, beside its code; the rest of portcall never imports it.

Each import costs every call milliseconds: what the interpreter has not loaded already is imported
only where it is needed.
"""
