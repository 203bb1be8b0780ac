package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.invalid/asr/inference"
)

// Options is the OPTIONS document; what is empty is left to the server's defaults.
type Options struct {
	Encoding   string `json:"encoding,omitempty"`
	SampleRate int    `json:"sample_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	Timestamps string `json:"timestamps,omitempty"`
}

// Span is a word or a character; times are seconds from the start of the audio.
type Span struct {
	Text       string  `json:"text"`
	StartS     float64 `json:"start_s"`
	EndS       float64 `json:"end_s"`
	Confidence float64 `json:"confidence"`
}

// Result is the RESULT document; unknown keys belong to later versions and are ignored.
type Result struct {
	Contract   int     `json:"contract"`
	Text       string  `json:"text"`
	DurationS  float64 `json:"duration_s"`
	Confidence float64 `json:"confidence"`
	Words      []Span  `json:"words,omitempty"`
	Chars      []Span  `json:"chars,omitempty"`
}

// Error is a failed call. Code is the contract's, such as AUDIO_TOO_LONG, and empty where the words
// are Triton's own.
type Error struct {
	Status    codes.Code
	Code      string
	Words     string
	RequestID string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (request %s)", e.Status, e.Words, e.RequestID)
}

var code = regexp.MustCompile(`^(?:\[request id: [^\]]*\] )?([A-Z][A-Z0-9_]+): `)

// Transcribe sends one recording. The context must have a deadline: the server may owe an answer
// that it can no longer give.
func Transcribe(
	ctx context.Context,
	service inference.GRPCInferenceServiceClient,
	audio []byte,
	options Options,
) (*Result, error) {
	return infer[Result](ctx, service, "transcribe", audio, options)
}

// infer makes one call of a model: AUDIO and OPTIONS in, RESULT out.
func infer[T any](
	ctx context.Context,
	service inference.GRPCInferenceServiceClient,
	model string,
	audio []byte,
	options any,
) (*T, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil, errors.New("the context has no deadline")
	}
	document, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	id := requestID()
	// In the queue: the rest of the time is for the answer.
	timeoutUS := max(1, time.Until(deadline).Microseconds()*7/10)
	response, err := service.ModelInfer(ctx, &inference.ModelInferRequest{
		ModelName: model,
		Id:        id,
		// The server drops the request from its queue when nobody waits any more.
		Parameters: map[string]*inference.InferParameter{
			"timeout": {ParameterChoice: &inference.InferParameter_Int64Param{Int64Param: timeoutUS}},
		},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: "AUDIO", Datatype: "BYTES", Shape: []int64{1, 1}},
			{Name: "OPTIONS", Datatype: "BYTES", Shape: []int64{1, 1}},
		},
		RawInputContents: [][]byte{element(audio), element(document)},
	})
	if err != nil {
		failed := status.Convert(err)
		e := &Error{Status: failed.Code(), Words: failed.Message(), RequestID: id}
		if match := code.FindStringSubmatch(e.Words); match != nil {
			e.Code = match[1]
		}
		return nil, e
	}
	return decode[T](response)
}

func decode[T any](response *inference.ModelInferResponse) (*T, error) {
	for i, output := range response.Outputs {
		if output.Name != "RESULT" || i >= len(response.RawOutputContents) {
			continue
		}
		raw := response.RawOutputContents[i]
		if len(raw) < 4 || int(binary.LittleEndian.Uint32(raw)) != len(raw)-4 {
			return nil, errors.New("RESULT is not one element")
		}
		var version struct{ Contract int }
		var result T
		if err := errors.Join(
			json.Unmarshal(raw[4:], &version), json.Unmarshal(raw[4:], &result),
		); err != nil {
			return nil, err
		}
		if version.Contract != 1 {
			return nil, fmt.Errorf("contract %d is not known here", version.Contract)
		}
		return &result, nil
	}
	return nil, errors.New("the answer has no RESULT")
}

// element is one element of a BYTES tensor: its length in 4 bytes, little-endian, then the bytes.
func element(value []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(value))), value...)
}

func requestID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return hex.EncodeToString(id)
}
