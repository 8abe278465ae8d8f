"""Graphs in the formats of other programs. Names are foreign text: each format spells out what would act in it."""
