"""Command line ``rlt-ros``: one module per sub-command, each with ``add_parser(subparsers)``."""
