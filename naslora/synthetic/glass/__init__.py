"""Rooms with transparent objects: surfaces, vessels, things, stuff, and whole scenes."""
