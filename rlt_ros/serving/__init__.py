"""A VLA or a trained policy behind a WebSocket, for simulators and robots that ask for actions over one."""
