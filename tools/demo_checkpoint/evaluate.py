"""Word error rates of a checkpoint folder on the demo's sets of clips.

    python -m tools.demo_checkpoint.evaluate FOLDER --recordings tests/data --synthetic HELDOUT \
        --spoken-digits DIGITS --speakers SPEAKER --show

Each clip goes alone and unpadded through `Wav2Vec2ForCTC`; the decoder is greedy.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Wav2Vec2ForCTC

from tools.command import make_parser
from tools.demo_checkpoint.evaluation_sets import add_set_flags, evaluation_sets, transcribe
from tools.word_errors import word_error_rate


def main() -> None:
    """Print each set's clips, words and word error rate."""
    parser = make_parser("tools.demo_checkpoint.evaluate", __doc__)
    parser.add_argument("checkpoint", type=Path, help="folder in Hugging Face format")
    add_set_flags(parser)
    parser.add_argument("--speakers", nargs="*", default=[], help="speakers to judge")
    parser.add_argument("--show", action="store_true", help="print wrong clips too")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = Wav2Vec2ForCTC.from_pretrained(arguments.checkpoint).eval()
    sets = evaluation_sets(arguments, arguments.speakers)
    for name, clips in sets.items():
        pairs = transcribe(lambda samples: model(samples).logits, clips)
        if arguments.show:
            for wanted, got in pairs:
                if wanted != got:
                    print(f"    {wanted} -> {got}")
        words = sum(len(wanted.split()) for wanted, _ in pairs)
        seconds = sum(clip.duration_s for clip in clips)
        rate = word_error_rate(pairs)
        print(f"{name}: {rate:.3f} over {len(clips)} clips, {words} words, {seconds:.0f} s")


if __name__ == "__main__":
    main()
