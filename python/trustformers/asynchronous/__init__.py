"""Work off the event loop: what asynchronous methods run in, and requests that are answered together."""
