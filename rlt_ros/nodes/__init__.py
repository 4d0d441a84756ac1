"""Nodes of the graph, one thin file each: parameters, topics, a call of the core, publishers.

Shared modules: :mod:`~rlt_ros.ros.parameters` declares a configuration dataclass as ROS parameters,
:mod:`~rlt_ros.ros.topics` makes publishers and subscriptions, :mod:`~rlt_ros.ros.qos` names their qualities of
service, :mod:`~rlt_ros.ros.diagnostics` publishes `/diagnostics`, and :mod:`~rlt_ros.ros.run` is the ``main`` of
every node. Example::

    class ReplayNode(Node):
        def __init__(self) -> None:
            super().__init__("replay_node")
            setup = declare(self, "", Setup)
            config = declare(self, "replay", ReplayNodeConfig)
            diagnostics = Diagnostics(self)
            self._dropped = Dropped(diagnostics)
            topics = Topics(self, diagnostics)
            self._status = topics.publisher(ReplayStatus, "rlt/replay_status", qos.REPLAY_STATUS)
            topics.subscription(RLState, "rlt/rl_state", self._on_state, qos.RL_STATE)


    def main() -> int:
        return run_node(ReplayNode)
"""
