"""The command line ``rlt-ros``: one module a sub-command, each with ``add_parser(subparsers)``."""
