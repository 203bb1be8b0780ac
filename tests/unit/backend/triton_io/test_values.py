import json

from asr_backend.triton_io.values import queue_capacity


def test_the_queue_capacity_is_that_of_the_configuration():
    policy = {"default_queue_policy": {"max_queue_size": 40}}
    for batching, capacity in ((policy, 40), ({}, 0), ({"default_queue_policy": {}}, 0)):
        config = json.dumps({"dynamic_batching": batching})
        assert queue_capacity({"model_config": config}) == capacity
