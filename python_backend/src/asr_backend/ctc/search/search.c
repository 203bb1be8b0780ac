// CTC prefix beam search. See __init__.py for what it computes and library.py for its callers.
//
// Texts are nodes of a tree of words; words are nodes of a tree of code points, so that a text or
// a word is one number, and equal strings are equal numbers. Both trees belong to one search.
// Nodes that no beam needs any more are dropped from time to time.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { OK, STOPPED, NO_MEMORY, MODEL_FAILED, NOTHING_LEFT };
enum { NONE = -1, ROOT = 0 };

// A word longer than this cannot be a known one for most languages: its penalty grows with it.
#define USUAL_WORD_LENGTH 6
// So many nodes may be waste before the trees are cleaned.
#define MAX_WASTE (1 << 15)
#define MIN_PLACES (1 << 10)

typedef struct {
    // For each symbol, its code points: points[point_start[i]] to points[point_start[i + 1]].
    // A blank has none.
    const uint32_t *points;
    const int32_t *point_start;
    // Equal for symbols that mean the same, such as all that count as blank.
    const int32_t *label;
    int32_t symbols;
    // The label of the word delimiter, or NONE.
    int32_t delimiter;
    // Whether each symbol is a word of its own, as phonemes are.
    int32_t symbols_are_words;
    // The words of the language model, sorted by code points; none if they are not known.
    const uint32_t *word_points;
    const int32_t *word_start;
    int32_t words;
    // The hot words of this search in the same form.
    const uint32_t *hot_points;
    const int32_t *hot_start;
    int32_t hots;
    double hot_weight;
    // Natural log-probability of a beginning that no known word has; 0 without known words.
    double unknown_score;
    // No word scores more than this in the language model.
    double max_word_score;
    // Number of words that decide how later words are scored; at least 1.
    int32_t history;
    int32_t beam_width;
    double min_symbol_score, max_behind;
} Settings;

// The language model. Scores `count` words, each after a state: word i is points[start[i]] to
// points[start[i + 1]], and new_states[i] becomes the state after it. Where `points` is NULL, it
// scores the end of the text after each state. Returns 0, or another number to end the search.
typedef int32_t (*Model)(int32_t count, const int32_t *states, const uint32_t *points,
                         const int32_t *start, double *scores, int32_t *new_states);

typedef struct {
    int32_t lo, hi;
} Range;

typedef struct {
    int32_t parent, length;
    uint32_t point;
    int32_t is_hot;
    Range known, hot;
    double score;
} Word;

typedef struct {
    int32_t parent, word;
    int32_t is_scored, state, hots;
    double model_score, score;  // the latter with the bonus of its hot words
} Text;

typedef struct {
    int32_t text, word, label;
    int32_t order;  // of being found in this frame; decides between equal ones
    double sound, total;
} Beam;

typedef struct {
    int64_t *keys;
    int32_t *values;
    int32_t size, used;
} Table;

typedef struct {
    const Settings *settings;
    Word *words;
    int32_t word_count, word_room;
    Text *texts;
    int32_t text_count, text_room;
    Table word_table, text_table;
    int32_t clean_at;
    // What the frame's beams become, and the places of the merged ones by key.
    Beam *beams, *next;
    int32_t beam_count, next_count, next_room;
    int32_t *places;
    int32_t place_size, place_room;
    // Texts of this frame that the model has to score, and what it is asked and answers.
    int32_t *pending, *states, *new_states, *start;
    double *scores;
    int32_t pending_room;
    uint32_t *points;
    int32_t point_room;
    int failed;
} Search;

// Tables of numbers -----------------------------------------------------------------------------

static uint64_t mixed(uint64_t key) {
    key ^= key >> 31;
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

static int64_t pair(int32_t one, int32_t other) {
    return (int64_t)((uint64_t)(uint32_t)one << 32 | (uint32_t)other);
}

static int table_make(Table *table, int32_t size) {
    table->keys = malloc(sizeof(int64_t) * size);
    table->values = malloc(sizeof(int32_t) * size);
    table->size = size;
    table->used = 0;
    if (!table->keys || !table->values) return 0;
    memset(table->values, 0xff, sizeof(int32_t) * size);
    return 1;
}

static void table_free(Table *table) {
    free(table->keys);
    free(table->values);
    table->keys = NULL;
    table->values = NULL;
}

static int32_t *table_at(Table *table, int64_t key) {
    uint32_t mask = table->size - 1, at = mixed(key) & mask;
    while (table->values[at] != NONE && table->keys[at] != key) at = (at + 1) & mask;
    table->keys[at] = key;
    return &table->values[at];
}

static int table_put(Table *table, int64_t key, int32_t value) {
    if (2 * ++table->used > table->size) {
        Table larger;
        if (!table_make(&larger, 2 * table->size)) {
            table_free(&larger);
            return 0;
        }
        larger.used = table->used;
        for (int32_t i = 0; i < table->size; i++)
            if (table->values[i] != NONE) *table_at(&larger, table->keys[i]) = table->values[i];
        table_free(table);
        *table = larger;
    }
    *table_at(table, key) = value;
    return 1;
}

// Words -----------------------------------------------------------------------------------------

// Where the first of the words in `range` is whose code point number `depth` is `point` or more.
static int32_t lower_bound(const uint32_t *points, const int32_t *start, Range range, int32_t depth,
                           uint64_t point) {
    while (range.lo < range.hi) {
        int32_t middle = range.lo + (range.hi - range.lo) / 2;
        int32_t length = start[middle + 1] - start[middle];
        if (depth < length && points[start[middle] + depth] >= point)
            range.hi = middle;
        else
            range.lo = middle + 1;
    }
    return range.lo;
}

static Range narrowed(const uint32_t *points, const int32_t *start, Range range, int32_t depth,
                      uint32_t point) {
    if (range.lo < range.hi) {
        range.lo = lower_bound(points, start, range, depth, point);
        range.hi = lower_bound(points, start, range, depth, (uint64_t)point + 1);
    }
    return range;
}

// What the beginning of a word adds to the score while the word is open.
static double open_score(const Settings *settings, const Word *word) {
    if (word->hot.lo < word->hot.hi) {
        int32_t shortest = INT32_MAX;
        for (int32_t i = word->hot.lo; i < word->hot.hi; i++) {
            int32_t length = settings->hot_start[i + 1] - settings->hot_start[i];
            if (length < shortest) shortest = length;
        }
        return settings->hot_weight * word->length / shortest;
    }
    if (word->known.lo < word->known.hi || settings->unknown_score == 0) return 0;
    double score = settings->unknown_score;
    return word->length > USUAL_WORD_LENGTH ? score * word->length / USUAL_WORD_LENGTH : score;
}

static int32_t word_after(Search *search, int32_t parent, uint32_t point) {
    int64_t key = pair(parent, (int32_t)point);
    int32_t found = *table_at(&search->word_table, key);
    if (found != NONE) return found;
    const Settings *settings = search->settings;
    if (search->word_count == search->word_room) {
        int32_t room = 2 * search->word_room;
        Word *larger = realloc(search->words, sizeof(Word) * room);
        if (!larger) return search->failed = NO_MEMORY, ROOT;
        search->words = larger;
        search->word_room = room;
    }
    int32_t id = search->word_count;
    const Word *before = &search->words[parent];
    Word *word = &search->words[id];
    word->parent = parent;
    word->point = point;
    word->length = before->length + 1;
    word->known = narrowed(settings->word_points, settings->word_start, before->known,
                           before->length, point);
    word->hot =
        narrowed(settings->hot_points, settings->hot_start, before->hot, before->length, point);
    // The whole word comes first among the words that begin with it.
    word->is_hot = word->hot.lo < word->hot.hi &&
                   settings->hot_start[word->hot.lo + 1] - settings->hot_start[word->hot.lo] ==
                       word->length;
    word->score = open_score(settings, word);
    if (!table_put(&search->word_table, key, id)) return search->failed = NO_MEMORY, ROOT;
    search->word_count++;
    return id;
}

// Texts -----------------------------------------------------------------------------------------

// The text with one more word; its score is not known yet.
static int32_t text_after(Search *search, int32_t parent, int32_t word) {
    if (word == ROOT) return parent;
    int64_t key = pair(parent, word);
    int32_t found = *table_at(&search->text_table, key);
    if (found != NONE) return found;
    if (search->text_count == search->text_room) {
        int32_t room = 2 * search->text_room;
        Text *larger = realloc(search->texts, sizeof(Text) * room);
        if (!larger) return search->failed = NO_MEMORY, ROOT;
        search->texts = larger;
        search->text_room = room;
    }
    int32_t id = search->text_count;
    search->texts[id] = (Text){.parent = parent, .word = word};
    if (!table_put(&search->text_table, key, id)) return search->failed = NO_MEMORY, ROOT;
    search->text_count++;
    return id;
}

static void set_score(Search *search, int32_t id, double score, int32_t state) {
    Text *text = &search->texts[id];
    const Text *before = &search->texts[text->parent];
    text->hots = before->hots + search->words[text->word].is_hot;
    text->model_score = before->model_score + score;
    text->score = text->model_score + search->settings->hot_weight * text->hots;
    text->state = state;
    text->is_scored = 1;
}

// Whether two texts end with the same words, as many as still decide the scores of later ones.
static int same_history(const Search *search, int32_t one, int32_t other) {
    for (int32_t i = 0; i < search->settings->history && one != other; i++) {
        if (search->texts[one].word != search->texts[other].word) return 0;
        one = search->texts[one].parent;
        other = search->texts[other].parent;
    }
    return 1;
}

static uint64_t history_hash(const Search *search, int32_t text) {
    uint64_t hash = 0;
    for (int32_t i = 0; i < search->settings->history && text != ROOT; i++) {
        hash = mixed(hash + search->texts[text].word + 1);
        text = search->texts[text].parent;
    }
    return hash;
}

// Drops the nodes that no beam needs. A parent has a lower number than its children.
static int clean(Search *search) {
    int32_t *texts = calloc(search->text_count, sizeof(int32_t));
    int32_t *words = calloc(search->word_count, sizeof(int32_t));
    Table text_table = {0}, word_table = {0};
    if (!texts || !words || !table_make(&text_table, 1 << 12) || !table_make(&word_table, 1 << 12))
        goto no_memory;
    texts[ROOT] = words[ROOT] = 1;
    for (int32_t i = 0; i < search->beam_count; i++)
        texts[search->beams[i].text] = words[search->beams[i].word] = 1;
    for (int32_t i = search->text_count - 1; i > ROOT; i--)
        if (texts[i]) texts[search->texts[i].parent] = words[search->texts[i].word] = 1;
    for (int32_t i = search->word_count - 1; i > ROOT; i--)
        if (words[i]) words[search->words[i].parent] = 1;
    int32_t count = 0;
    for (int32_t i = 0; i < search->word_count; i++) {
        if (!words[i]) continue;
        Word word = search->words[i];
        if (i != ROOT) word.parent = words[word.parent];
        words[i] = count;
        search->words[count] = word;
        if (i != ROOT && !table_put(&word_table, pair(word.parent, (int32_t)word.point), count))
            goto no_memory;
        count++;
    }
    search->word_count = count;
    count = 0;
    for (int32_t i = 0; i < search->text_count; i++) {
        if (!texts[i]) continue;
        Text text = search->texts[i];
        if (i != ROOT) {
            text.parent = texts[text.parent];
            text.word = words[text.word];
        }
        texts[i] = count;
        search->texts[count] = text;
        if (i != ROOT && !table_put(&text_table, pair(text.parent, text.word), count))
            goto no_memory;
        count++;
    }
    search->text_count = count;
    for (int32_t i = 0; i < search->beam_count; i++) {
        search->beams[i].text = texts[search->beams[i].text];
        search->beams[i].word = words[search->beams[i].word];
    }
    table_free(&search->text_table);
    table_free(&search->word_table);
    search->text_table = text_table;
    search->word_table = word_table;
    search->clean_at = search->text_count + search->word_count + MAX_WASTE;
    free(texts);
    free(words);
    return OK;
no_memory:
    free(texts);
    free(words);
    table_free(&text_table);
    table_free(&word_table);
    return NO_MEMORY;
}

// Beams -----------------------------------------------------------------------------------------

static double log_sum(double one, double other) {
    double larger = one > other ? one : other, smaller = one > other ? other : one;
    return larger + log1p(exp(smaller - larger));
}

// Adds a beam for the next frame, to an equal one if there is one.
static void add(Search *search, int32_t text, int32_t word, int32_t label, double sound) {
    uint32_t mask = search->place_size - 1;
    uint32_t at = mixed(mixed(pair(text, word)) + (uint32_t)label) & mask;
    for (; search->places[at] != NONE; at = (at + 1) & mask) {
        Beam *beam = &search->next[search->places[at]];
        if (beam->text == text && beam->word == word && beam->label == label) {
            beam->sound = log_sum(beam->sound, sound);
            return;
        }
    }
    int32_t order = search->next_count++;
    search->places[at] = order;
    search->next[order] = (Beam){text, word, label, order, sound, 0};
}

static void extend(Search *search, const Beam *beam, int32_t symbol, double score) {
    const Settings *settings = search->settings;
    int32_t label = settings->label[symbol], word = beam->word, text = beam->text;
    int32_t start = settings->point_start[symbol], end = settings->point_start[symbol + 1];
    double sound = beam->sound + score;
    if (label != beam->label) {
        int is_blank = start == end && label != settings->delimiter;
        if (label == settings->delimiter || (settings->symbols_are_words && !is_blank)) {
            text = text_after(search, text, word);
            word = ROOT;
        }
        for (int32_t i = start; i < end; i++) word = word_after(search, word, settings->points[i]);
    }
    add(search, text, word, label, sound);
}

static int make_room(Search *search, int64_t beams) {
    // Small again after a frame with many beams: all places are cleared for each frame.
    int64_t size = MIN_PLACES;
    while (size < 2 * beams) size *= 2;
    if (size > 1 << 30) return NO_MEMORY;
    if (beams > search->next_room) {
        Beam *next = realloc(search->next, sizeof(Beam) * beams);
        if (!next) return NO_MEMORY;
        search->next = next;
        search->next_room = beams;
    }
    if (size > search->place_room) {
        int32_t *places = realloc(search->places, sizeof(int32_t) * size);
        if (!places) return NO_MEMORY;
        search->places = places;
        search->place_room = size;
    }
    search->place_size = size;
    memset(search->places, 0xff, sizeof(int32_t) * search->place_size);
    search->next_count = 0;
    return OK;
}

static void put_total(Search *search, Beam *beam) {
    beam->total =
        beam->sound + search->texts[beam->text].score + search->words[beam->word].score;
}

// Writes the code points of a word, last one first, before `end`; returns where they begin.
static uint32_t *spell(const Search *search, int32_t word, uint32_t *end) {
    for (; word != ROOT; word = search->words[word].parent) *--end = search->words[word].point;
    return end;
}

static int make_pending_room(Search *search, int32_t count) {
    if (count <= search->pending_room) return OK;
    free(search->pending);
    free(search->states);
    free(search->new_states);
    free(search->start);
    free(search->scores);
    search->pending_room = 0;
    search->pending = malloc(sizeof(int32_t) * count);
    search->states = malloc(sizeof(int32_t) * count);
    search->new_states = malloc(sizeof(int32_t) * count);
    search->start = malloc(sizeof(int32_t) * (count + 1));
    search->scores = malloc(sizeof(double) * count);
    if (!search->pending || !search->states || !search->new_states || !search->start ||
        !search->scores)
        return NO_MEMORY;
    search->pending_room = count;
    return OK;
}

// Asks the model for the scores of the pending texts.
static int ask(Search *search, Model model, int32_t pending) {
    int64_t length = 0;
    for (int32_t i = 0; i < pending; i++) {
        const Text *text = &search->texts[search->pending[i]];
        search->states[i] = search->texts[text->parent].state;
        search->start[i] = (int32_t)length;
        length += search->words[text->word].length;
        if (length > INT32_MAX / 8) return NO_MEMORY;
    }
    search->start[pending] = (int32_t)length;
    if (length > search->point_room) {
        free(search->points);
        search->point_room = 0;
        search->points = malloc(sizeof(uint32_t) * 2 * length);
        if (!search->points) return NO_MEMORY;
        search->point_room = (int32_t)(2 * length);
    }
    for (int32_t i = 0; i < pending; i++)
        spell(search, search->texts[search->pending[i]].word,
              search->points + search->start[i + 1]);
    return model(pending, search->states, search->points, search->start, search->scores,
                 search->new_states)
               ? MODEL_FAILED
               : OK;
}

// Scores the next beams. Those that cannot come near the best, whatever the model says of their
// texts, are dropped before it is asked.
static int score(Search *search, Model model) {
    const Settings *settings = search->settings;
    double best = -INFINITY;
    if (make_pending_room(search, search->next_count)) return NO_MEMORY;
    for (int32_t i = 0; i < search->next_count; i++) {
        Beam *beam = &search->next[i];
        if (!search->texts[beam->text].is_scored) continue;
        put_total(search, beam);
        if (beam->total > best) best = beam->total;
    }
    int32_t kept = 0, pending = 0;
    for (int32_t i = 0; i < search->next_count; i++) {
        Beam beam = search->next[i];
        Text *text = &search->texts[beam.text];
        if (!text->is_scored) {
            double bound = beam.sound + search->texts[text->parent].score +
                           search->words[beam.word].score + settings->max_word_score;
            if (search->words[text->word].is_hot) bound += settings->hot_weight;
            if (bound < best - settings->max_behind) continue;
            text->is_scored = NONE;  // asked for, once
            search->pending[pending++] = beam.text;
        }
        search->next[kept++] = beam;
    }
    search->next_count = kept;
    if (!pending) return OK;
    int failed = model ? ask(search, model, pending) : OK;
    if (failed) return failed;
    for (int32_t i = 0; i < pending; i++)
        set_score(search, search->pending[i], model ? search->scores[i] : 0,
                  model ? search->new_states[i] : 0);
    for (int32_t i = 0; i < search->next_count; i++) put_total(search, &search->next[i]);
    return OK;
}

static int is_better(const Beam *one, const Beam *other) {
    return one->total != other->total ? one->total > other->total : one->order < other->order;
}

static int best_first(const void *one, const void *other) {
    return is_better(one, other) ? -1 : is_better(other, one);
}

// Moves the `count` best of the beams to the front, in no order.
static void select_best(Beam *beams, int32_t size, int32_t count) {
    int32_t lo = 0, hi = size - 1;
    while (lo < hi) {
        Beam pivot = beams[lo + (hi - lo) / 2];
        int32_t left = lo, right = hi;
        while (left <= right) {
            while (is_better(&beams[left], &pivot)) left++;
            while (is_better(&pivot, &beams[right])) right--;
            if (left <= right) {
                Beam swap = beams[left];
                beams[left++] = beams[right];
                beams[right--] = swap;
            }
        }
        if (count - 1 <= right)
            hi = right;
        else if (count - 1 >= left)
            lo = left;
        else
            return;
    }
}

// Keeps of the next beams the best, best first; at most `beam_width`, and none far behind. None is
// left if all scores are NaN.
static int keep_best(Search *search) {
    const Settings *settings = search->settings;
    double best = -INFINITY;
    for (int32_t i = 0; i < search->next_count; i++)
        if (search->next[i].total > best) best = search->next[i].total;
    int32_t kept = 0;
    for (int32_t i = 0; i < search->next_count; i++)
        if (search->next[i].total >= best - settings->max_behind)
            search->next[kept++] = search->next[i];
    if (kept > settings->beam_width) {
        select_best(search->next, kept, settings->beam_width);
        kept = settings->beam_width;
    }
    search->next_count = kept;
    if (!kept) return NOTHING_LEFT;
    qsort(search->next, kept, sizeof(Beam), best_first);
    return OK;
}

// Makes the next beams the present ones. Of those that only differ in words that decide nothing
// any more, the best stays.
static void advance(Search *search) {
    uint32_t mask = search->place_size - 1;
    memset(search->places, 0xff, sizeof(int32_t) * search->place_size);
    search->beam_count = 0;
    for (int32_t i = 0; i < search->next_count; i++) {
        const Beam *beam = &search->next[i];
        uint64_t hash = history_hash(search, beam->text) + pair(beam->word, beam->label);
        uint32_t at = mixed(hash) & mask;
        for (; search->places[at] != NONE; at = (at + 1) & mask) {
            const Beam *other = &search->beams[search->places[at]];
            if (other->word == beam->word && other->label == beam->label &&
                same_history(search, other->text, beam->text))
                break;
        }
        if (search->places[at] != NONE) continue;
        search->places[at] = search->beam_count;
        search->beams[search->beam_count++] = *beam;
    }
}

static int take_frame(Search *search, const float *frame, int32_t *symbols, Model model) {
    const Settings *settings = search->settings;
    int32_t count = 0, top = 0;
    for (int32_t i = 1; i < settings->symbols; i++)
        if (frame[i] > frame[top]) top = i;
    for (int32_t i = 0; i < settings->symbols; i++)
        if (frame[i] >= settings->min_symbol_score || i == top) symbols[count++] = i;
    if (make_room(search, (int64_t)count * search->beam_count)) return NO_MEMORY;
    for (int32_t i = 0; i < count; i++)
        for (int32_t j = 0; j < search->beam_count; j++)
            extend(search, &search->beams[j], symbols[i], frame[symbols[i]]);
    if (search->failed) return search->failed;
    int failed = score(search, model);
    if (!failed) failed = keep_best(search);
    if (failed) return failed;
    advance(search);
    return search->word_count + search->text_count > search->clean_at ? clean(search) : OK;
}

// Ends the words that are open, and puts the best text first.
static int finish(Search *search, Model model) {
    if (make_room(search, search->beam_count)) return NO_MEMORY;
    for (int32_t i = 0; i < search->beam_count; i++) {
        const Beam *beam = &search->beams[i];
        add(search, text_after(search, beam->text, beam->word), ROOT, NONE, beam->sound);
    }
    if (search->failed) return search->failed;
    int failed = score(search, model);
    if (failed) return failed;
    if (model) {
        for (int32_t i = 0; i < search->next_count; i++)
            search->states[i] = search->texts[search->next[i].text].state;
        if (model(search->next_count, search->states, NULL, NULL, search->scores,
                  search->new_states))
            return MODEL_FAILED;
        for (int32_t i = 0; i < search->next_count; i++)
            search->next[i].total += search->scores[i];
    }
    return keep_best(search);
}

// The words of a text with a space between any two, in memory that the caller frees.
static uint32_t *joined(const Search *search, int32_t text, int32_t *length) {
    int64_t total = 0;
    for (int32_t at = text; at != ROOT; at = search->texts[at].parent)
        total += search->words[search->texts[at].word].length + 1;
    uint32_t *points = malloc(sizeof(uint32_t) * (total + 1)), *end = points + total;
    if (!points) return NULL;
    *length = (int32_t)(total ? total - 1 : 0);
    for (int32_t at = text; at != ROOT; at = search->texts[at].parent) {
        *--end = ' ';
        end = spell(search, search->texts[at].word, end);
    }
    return points;
}

static int search_begin(Search *search, const Settings *settings) {
    *search = (Search){.settings = settings, .clean_at = MAX_WASTE};
    search->word_room = search->text_room = 1 << 10;
    search->place_size = search->place_room = MIN_PLACES;
    search->words = malloc(sizeof(Word) * search->word_room);
    search->texts = malloc(sizeof(Text) * search->text_room);
    search->beams = malloc(sizeof(Beam) * settings->beam_width);
    search->places = malloc(sizeof(int32_t) * search->place_size);
    if (!search->words || !search->texts || !search->beams || !search->places ||
        !table_make(&search->word_table, 1 << 12) || !table_make(&search->text_table, 1 << 12))
        return NO_MEMORY;
    search->words[ROOT] = (Word){.known = {0, settings->words}, .hot = {0, settings->hots}};
    search->texts[ROOT] = (Text){.is_scored = 1};
    search->beams[0] = (Beam){.label = NONE};
    search->word_count = search->text_count = search->beam_count = 1;
    return OK;
}

static void search_end(Search *search) {
    free(search->words);
    free(search->texts);
    free(search->beams);
    free(search->next);
    free(search->places);
    free(search->pending);
    free(search->states);
    free(search->new_states);
    free(search->start);
    free(search->scores);
    free(search->points);
    table_free(&search->word_table);
    table_free(&search->text_table);
}

// Finds the most probable text of `frames` rows of natural log-probabilities, one value for each
// symbol. The search ends once *stopped is not 0. State 0 is the model's at the start; *state
// becomes the one after the text. *text is for asr_ctc_free.
EXPORT int32_t asr_ctc_search(const Settings *settings, const float *emissions, int64_t frames,
                              Model model, const volatile int32_t *stopped, uint32_t **text,
                              int32_t *length, int32_t *state) {
    Search search;
    int32_t *symbols = malloc(sizeof(int32_t) * settings->symbols);
    int failed = search_begin(&search, settings);
    if (!symbols) failed = NO_MEMORY;
    for (int64_t i = 0; i < frames && !failed; i++)
        failed = *stopped ? STOPPED
                          : take_frame(&search, emissions + i * settings->symbols, symbols, model);
    if (!failed) failed = finish(&search, model);
    if (!failed) {
        *text = joined(&search, search.next[0].text, length);
        *state = search.texts[search.next[0].text].state;
        if (!*text) failed = NO_MEMORY;
    }
    free(symbols);
    search_end(&search);
    return failed;
}

EXPORT void asr_ctc_free(uint32_t *text) { free(text); }

#ifndef SOURCES_HASH
#define SOURCES_HASH ""
#endif
EXPORT const char *asr_ctc_sources(void) { return SOURCES_HASH; }
