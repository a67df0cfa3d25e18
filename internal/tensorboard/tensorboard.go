// Package tensorboard writes scalars into event files, which TensorBoard reads: records of
// TensorFlow's TFRecord framing (tensorflow/core/lib/io/record_writer.h), each an Event
// message (tensorflow/core/util/event.proto).
package tensorboard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Writer appends to one event file. On nil it does nothing.
type Writer struct {
	file *os.File
	now  func() time.Time
}

// Scalar is a value of a curve.
type Scalar struct {
	Tag   string
	Value float64
}

// Fields of the messages.
const (
	eventWallTime    = 1 // double, seconds since 1970
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog
	summaryValue     = 1 // repeated Value
	valueTag         = 1 // string
	valueSimple      = 2 // float
	sessionStatus    = 1 // enum
	statusStart      = 1
)

// Create begins a new event file in a folder; steps from first on will follow. A reader
// forgets what files of earlier starts have of these.
func Create(dir string, first int) (*Writer, error) {
	host, _ := os.Hostname()
	now := time.Now()
	path := filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.%s.%d.%d", now.Unix(), host, os.Getpid(), now.Nanosecond()))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: f, now: time.Now}
	version := w.event(0)
	version = protowire.AppendTag(version, eventFileVersion, protowire.BytesType)
	version = protowire.AppendString(version, "brain.Event:2")
	start := w.event(first)
	start = protowire.AppendTag(start, eventSessionLog, protowire.BytesType)
	start = protowire.AppendBytes(start, protowire.AppendVarint(protowire.AppendTag(nil, sessionStatus, protowire.VarintType), statusStart))
	for _, e := range [][]byte{version, start} {
		if err := w.write(e); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return w, nil
}

// Add writes values of a step.
func (w *Writer) Add(step int, values ...Scalar) error {
	if w == nil {
		return nil
	}
	var summary []byte
	for _, v := range values {
		value := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), v.Tag)
		value = protowire.AppendFixed32(protowire.AppendTag(value, valueSimple, protowire.Fixed32Type), math.Float32bits(float32(v.Value)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), value)
	}
	e := protowire.AppendTag(w.event(step), eventSummary, protowire.BytesType)
	return w.write(protowire.AppendBytes(e, summary))
}

// Close ends the file.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
	return w.file.Close()
}

// event begins an Event.
func (w *Writer) event(step int) []byte {
	e := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(float64(w.now().UnixNano())/1e9))
	e = protowire.AppendTag(e, eventStep, protowire.VarintType)
	return protowire.AppendVarint(e, uint64(step))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum as TFRecord stores it: CRC-32C, rotated right by 15 bits, plus a
// constant.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// write appends a record: its length (64 bits), that one's checksum, the data and theirs.
func (w *Writer) write(data []byte) error {
	record := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	record = binary.LittleEndian.AppendUint32(record, masked(record))
	record = append(record, data...)
	record = binary.LittleEndian.AppendUint32(record, masked(data))
	_, err := w.file.Write(record)
	return err
}
