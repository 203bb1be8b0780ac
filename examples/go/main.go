// Transcribes a recording: go run . [-url HOST:PORT] [-timeout 60s] [-live] FILE
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.invalid/asr/inference"
)

func main() {
	url := os.Getenv("ASR_URL")
	if url == "" {
		url = "localhost:8001"
	}
	flag.StringVar(&url, "url", url, "the server's gRPC address")
	timeout := flag.Duration("timeout", time.Minute, "bounds the whole call")
	live := flag.Bool("live", false, "play a WAV file in place of a microphone")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go run . [-url HOST:PORT] [-timeout 60s] [-live] FILE")
		os.Exit(2)
	}
	if err := run(url, flag.Arg(0), *timeout, *live); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(url, file string, timeout time.Duration, live bool) error {
	audio, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(
		url,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// RESULT of an hour with characters is larger than the 4 MiB that gRPC accepts by default.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<31-1)),
	)
	if err != nil {
		return err
	}
	defer connection.Close()

	service := inference.NewGRPCInferenceServiceClient(connection)
	if live {
		pcm, form, err := ReadWAV(audio)
		if err != nil {
			return err
		}
		return Stream(context.Background(), service, Play(pcm, form), form, "beam", show)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	result, err := Transcribe(ctx, service, audio, Options{Timestamps: "word"})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func show(look *Look) {
	for _, segment := range look.Segments {
		fmt.Printf("%7.2f s  %s\n", segment.StartS, segment.Text)
	}
	if look.Interim != nil {
		fmt.Printf("         …  %s\n", look.Interim.Text)
	}
}
