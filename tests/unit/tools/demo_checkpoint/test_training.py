import numpy as np
import torch

from tools.demo_checkpoint.training import Batch, DemoTrainer, collate


def speech_like(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(16_000).astype(np.float32)
    return collate([("go", noise * np.hanning(16_000).astype(np.float32)), ("stop", noise[:9_000])])


def test_a_finished_checkpoint_is_adopted_with_linear_layers_that_fit_it():
    torch.manual_seed(0)
    finished = DemoTrainer()
    torch.manual_seed(1)
    trainer = DemoTrainer()
    trainer.eval()
    batch = speech_like(0)
    before = float(trainer.loss("front", batch, 0).detach())
    trainer.adopt(finished.model, [batch, speech_like(1)])
    for name, value in finished.model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value)
    assert float(trainer.loss("front", batch, 0).detach()) < before / 2
    samples = batch.samples[:1]
    whole = trainer.hypothesise("joint", samples)
    by_mel = trainer.hypothesise("encoder", samples)
    assert (by_mel - whole).std() < whole.std()
