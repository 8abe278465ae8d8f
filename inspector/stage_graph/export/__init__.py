"""A graph record as the data that is saved, and back; and as a graph of networkx."""
