"""Parity: does each stage compute what it claims?"""
