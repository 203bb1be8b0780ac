"""CTC prefix beam search in C, which does not hold the interpreter's lock.

It keeps the `beam_width` most probable beginnings at each frame. A beginning is the words so far,
the letters of the open word, and the last symbol; the probabilities of all paths to one beginning
add up (Graves and Jaitly, 2014; Hannun et al., 2014). Its score is

    log P(sound) + the language model's score of the words + the bonus of hot words
    + the penalty of an open word that no known word begins with

which are the rules and defaults of pyctcdecode, so that language models tuned for it keep their
weights. Of beginnings that differ only in words too far back for the language model, the best one
stays.

`tools/build_native.py` builds the library from search.c.
"""
