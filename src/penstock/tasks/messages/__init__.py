"""The message pipeline: one durable line in a file for each message (``message``).

Called without Penstock the task does the same; without a job id it cannot know what it wrote before.
"""

from penstock.tasks.messages.task import message

__all__ = ["message"]
