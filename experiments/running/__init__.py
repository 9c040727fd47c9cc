"""Running studies: blocks, tasks, the runner, progress, replay."""
