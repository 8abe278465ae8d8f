"""Names every op of a transformer's forward pass by its part in the architecture, with its shapes.

>>> import inspector
>>> inspector.__version__
'0.1.0'
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
