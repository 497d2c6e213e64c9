"""Networks by name, and a door for a user's own Flax Linen module.

Outside this package a network is two pure functions, `init` and `apply`; Flax stays in here.
"""

from ltjax.models.inits import INITS
from ltjax.models.network import Apply, Network, central, sigmoid
from ltjax.models.own import from_flax
from ltjax.models.table import MODELS, Row, make

__all__ = ["INITS", "MODELS", "Apply", "Network", "Row", "central", "from_flax", "make", "sigmoid"]
