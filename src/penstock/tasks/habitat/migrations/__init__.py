"""Migrations of the reference tables."""
