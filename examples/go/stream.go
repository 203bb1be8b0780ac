package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	"example.invalid/asr/inference"
)

const (
	hopS        = 0.4
	minTimeoutS = 5.0
	// The server's max_segment_s, and 5 s: what a caller that is behind sends at once.
	catchUpS = 20.0
	// How long the last look is repeated.
	giveUp = 30 * time.Second
)

// Form says what the PCM is; FrameBytes is the size of one sample of each channel.
type Form struct {
	Encoding   string
	SampleRate int
	Channels   int
	FrameBytes int
}

// Segment is final, or the words so far.
type Segment struct {
	Index      int     `json:"index"`
	StartS     float64 `json:"start_s"`
	EndS       float64 `json:"end_s"`
	Text       string  `json:"text"`
	StableText string  `json:"stable_text,omitempty"`
	Words      []Span  `json:"words,omitempty"`
}

// Look is RESULT of one look. Segments became final; Interim replaces the interim before.
type Look struct {
	AudioProcessedS float64   `json:"audio_processed_s"`
	ConsumedBytes   int       `json:"consumed_bytes"`
	ConsumedS       float64   `json:"consumed_s"`
	State           string    `json:"state"`
	Segments        []Segment `json:"segments"`
	Interim         *Segment  `json:"interim"`
}

type lookOptions struct {
	Options
	Decoder string `json:"decoder,omitempty"`
	State   string `json:"state,omitempty"`
	End     bool   `json:"end"`
	Interim bool   `json:"interim"`
}

// Microphone waits for so many more seconds and returns all PCM since the last time; false at the
// end.
type Microphone func(seconds float64) ([]byte, bool)

// Stream looks at live audio up to its end, and gives every answer to show. docs/live.md explains
// each step.
func Stream(
	ctx context.Context,
	service inference.GRPCInferenceServiceClient,
	microphone Microphone,
	form Form,
	decoder string,
	show func(*Look),
) error {
	perS := float64(form.SampleRate * form.FrameBytes)
	options := lookOptions{Decoder: decoder}
	options.Encoding, options.SampleRate, options.Channels = form.Encoding, form.SampleRate, form.Channels
	var kept []byte     // the audio that is not final
	var until time.Time // when the last look is given up
	nextHopS, felled := hopS, 0
	for {
		block, more := microphone(nextHopS)
		kept = append(kept, block...)
		if !more && until.IsZero() {
			until = time.Now().Add(giveUp)
		}
		audio := kept[:min(len(kept), int(catchUpS)*form.SampleRate*form.FrameBytes)]
		options.Interim = len(audio) == len(kept)
		options.End = !more && options.Interim
		deadline := until
		if !options.End {
			seconds := max(minTimeoutS, float64(len(audio))/perS)
			deadline = time.Now().Add(time.Duration(seconds * float64(time.Second)))
		}
		look, err := lookAt(ctx, service, deadline, audio, options)
		if err != nil {
			if !isLost(err) || (!more && time.Until(until) < time.Second) {
				return err
			}
			// This segment's audio must not end a third process: drop it, or stop, as here.
			if mayHaveFelled(err) {
				if felled++; felled == 2 {
					return err
				}
			}
			nextHopS = hopS // The next look has this one's audio, and more.
			if !more {
				time.Sleep(time.Duration(hopS * (1 + rand.Float64()) * float64(time.Second)))
			}
			continue
		}
		kept = kept[look.ConsumedBytes:]
		options.State, felled = look.State, 0
		show(look)
		if options.End {
			return nil
		}
		nextHopS = hopS
		if look.Interim != nil {
			nextHopS = max(hopS, 0.1*(look.Interim.EndS-look.Interim.StartS))
		}
		// A look may stop behind a final; then the next one is due at once.
		if look.ConsumedS+float64(len(kept))/perS-look.AudioProcessedS > 0.01 {
			nextHopS = 0
		}
	}
}

func lookAt(
	ctx context.Context,
	service inference.GRPCInferenceServiceClient,
	deadline time.Time,
	audio []byte,
	options lookOptions,
) (*Look, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return infer[Look](ctx, service, "transcribe_stream", audio, options)
}

// isLost says whether the next look may succeed.
func isLost(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Status == codes.Unavailable || e.Status == codes.DeadlineExceeded || mayHaveFelled(err)
}

// mayHaveFelled says whether the look may have ended a process: "Stub process … is not healthy" has
// no code.
func mayHaveFelled(err error) bool {
	var e *Error
	return errors.As(err, &e) &&
		(e.Code == "ENGINE_RESTARTING" || (e.Status == codes.Internal && e.Code == ""))
}
