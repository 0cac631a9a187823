"""Encoders checked: whether loaded weights give the values that others published for them."""
