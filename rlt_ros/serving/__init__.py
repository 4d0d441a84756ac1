"""WebSocket servers of a VLA or a trained policy, for simulators and robots."""
