"""Questions that requests ask workers: what needs the validator, which no web process loads.

A question goes through a queue of its own, which the workers of the quick lane take as well; the answer comes back
through a key in Redis. Nothing is lost with them: a question without an answer changed nothing, or what it changed
stands in the database.
"""

import json
import time
import uuid
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from jobs.errors import NoAnswerError

#: The queue of the questions.
QUEUE = "bulk_upload_questions"
#: A name, not the function, so that a process that asks does not import pandas.
_JOB = "jobs.answers.run"
#: Seconds that a connection to Redis may take, and that an answer waits for whoever asked.
_CONNECT_TIMEOUT, ANSWER_KEPT = 1.0, 60
#: Seconds that Redis waits for an answer at once.
_LOOK = 1
#: Seconds after which RQ stops an answer.
_ANSWER_TIMEOUT = 600


class Questions:
    """Asks workers. Thread-safe."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = Redis.from_url(
            redis_url, socket_connect_timeout=_CONNECT_TIMEOUT, retry=Retry(NoBackoff(), 1)
        )
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def ask(self, kind: str, *, seconds: float, **arguments: Any) -> Any:
        """The answer to a question (answers.py). seconds: to wait for it. Raises NoAnswerError."""
        reply_to = f"{QUEUE}:{uuid.uuid4().hex}"
        try:
            self._enqueue(kind, arguments, reply_to, seconds=seconds)
            until, found = time.monotonic() + seconds, None
            while found is None and time.monotonic() < until:
                found = self._redis.blpop([reply_to], timeout=_LOOK)  # less than a connection may be silent
        except RedisError as error:
            raise NoAnswerError from error
        if found is None:
            raise NoAnswerError
        answer = json.loads(found[1])
        if "defect" in answer:
            raise RuntimeError(f"A worker could not answer the question “{kind}”: {answer['defect']}")
        return answer["answer"]

    def send(self, kind: str, *, once: str, seconds: float, **arguments: Any) -> None:
        """Ask without waiting for the answer, which goes into the database. once: names the question, which is not
        asked again before it was answered, or so many seconds passed. Raises NoAnswerError."""
        once = f"{QUEUE}:{once}"
        try:
            if self._redis.set(once, 1, nx=True, ex=max(1, int(seconds))):
                self._enqueue(kind, arguments, f"{QUEUE}:{uuid.uuid4().hex}", seconds=seconds, once=once)
        except RedisError as error:
            raise NoAnswerError from error

    def _enqueue(
        self, kind: str, arguments: dict[str, Any], reply_to: str, *, seconds: float, once: str | None = None
    ) -> None:
        self._queue.enqueue_call(
            _JOB,
            args=(kind, arguments, reply_to, once),
            timeout=_ANSWER_TIMEOUT,
            ttl=max(1, int(seconds)),  # nobody waits for it any longer
            result_ttl=0,
            failure_ttl=ANSWER_KEPT,
            description=f"a question: {kind}",
        )

    def close(self) -> None:
        self._redis.close()


def answer(redis: Any, reply_to: str, content: dict[str, Any], once: str | None = None) -> None:
    """Send an answer to whoever asked. once: the question may be asked again."""
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.rpush(reply_to, json.dumps(content))
        pipeline.expire(reply_to, ANSWER_KEPT)
        if once is not None:
            pipeline.delete(once)
        pipeline.execute()
