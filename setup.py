"""Entry point of tools that call ``setup.py``; ``pyproject.toml`` contains all declarations."""

from setuptools import setup

setup()
