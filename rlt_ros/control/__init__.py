"""What the arm does next: chunks, human and e-stop weighed against each other, once a control step.

Pure: messages come as records, times as arguments, and what shall be sent is returned. `nodes/executor_node.py`
connects it to the graph.
"""
