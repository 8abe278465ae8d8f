"""Wrong formulas: a catalogue of them, how each is put into a running model, and which of them a check can tell.

catalogue: every mutant by name, from the files beside it, one per section. apply: a model that computes a wrong formula
for as long as a `with` lasts. run: every mutant that applies to a model against the checker. power: which mutants one
check can tell by the value alone.
"""
