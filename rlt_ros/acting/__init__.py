"""Control of the arm: arbitrates e-stop, human and policy once per control step.

Pure: messages arrive as records, times as arguments, and commands are returned. `nodes/executor_node.py` connects it
to the graph.
"""
