package main

import (
	"encoding/binary"
	"errors"
	"time"
)

// Play gives the samples at the speed at which they were recorded.
func Play(pcm []byte, form Form) Microphone {
	began, heard := time.Now(), 0
	perS := float64(form.SampleRate * form.FrameBytes)
	return func(seconds float64) ([]byte, bool) {
		if heard == len(pcm) {
			return nil, false
		}
		due := min(float64(len(pcm)), float64(heard)+seconds*perS)
		time.Sleep(time.Duration(due/perS*float64(time.Second)) - time.Since(began))
		from, frames := heard, int(time.Since(began).Seconds()*float64(form.SampleRate))
		heard = min(len(pcm), max(heard, frames*form.FrameBytes))
		return pcm[from:heard], true
	}
}

// ReadWAV returns the samples of a WAV file of 16 bits.
func ReadWAV(file []byte) ([]byte, Form, error) {
	var form Form
	for at := 12; at+8 <= len(file); {
		size := int(binary.LittleEndian.Uint32(file[at+4:]))
		body := file[at+8 : min(len(file), at+8+size)]
		switch string(file[at : at+4]) {
		case "fmt ":
			if len(body) >= 16 && body[0] == 1 && body[14] == 16 {
				channels := int(binary.LittleEndian.Uint16(body[2:]))
				rate := int(binary.LittleEndian.Uint32(body[4:]))
				form = Form{"pcm_s16le", rate, channels, 2 * channels}
			}
		case "data":
			if form.FrameBytes > 0 {
				return body[:len(body)-len(body)%form.FrameBytes], form, nil
			}
		}
		at += 8 + size + size%2
	}
	return nil, form, errors.New("not a WAV file of 16 bits")
}
