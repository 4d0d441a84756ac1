"""RL Token for robot arms: online reinforcement learning on top of a frozen vision-language-action model.

Sub-packages, lowest layer first: ``rlt`` (the method), ``vla``, ``perception``, ``robots``, ``teleop``,
``episodes``, ``data``, ``sim``, ``experiments``, ``nodes``, ``cli``. Imports run in that direction only.
"""

# A colcon workspace installs the generated messages as a second `rlt_ros` folder: both must be importable.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

__version__ = "0.2.0"
