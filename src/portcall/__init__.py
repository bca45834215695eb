"""portcall: a durable playbook engine whose steps hold no worker slot while they wait."""

__version__ = "0.1.0"
