package tflite

import (
	"encoding/binary"
	"fmt"
	"io"

	flatbuffers "github.com/google/flatbuffers/go"
)

// The tables of LiteRT's schema (tflite/converter/schema/schema.fbs, version 3c) that a file
// of ours needs. A table is written by the numbers of its fields; those that are not set keep
// their default and take no room.

// field is a value of a table under the number of its field.
type field struct {
	slot  int
	write func(b *flatbuffers.Builder, slot int)
}

// offset is a field that refers to a string, a vector or another table.
func offset(slot int, at flatbuffers.UOffsetT) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependUOffsetTSlot(s, at, 0) }}
}

func int32Field(slot int, v int32) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependInt32Slot(s, v, 0) }}
}

func uint32Field(slot int, v uint32) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependUint32Slot(s, v, 0) }}
}

func byteField(slot int, v byte) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependByteSlot(s, v, 0) }}
}

func boolField(slot int, v bool) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependBoolSlot(s, v, false) }}
}

func floatField(slot int, v float32) field {
	return field{slot, func(b *flatbuffers.Builder, s int) { b.PrependFloat32Slot(s, v, 0) }}
}

// table writes a table of that many fields.
func table(b *flatbuffers.Builder, fields int, set ...field) flatbuffers.UOffsetT {
	b.StartObject(fields)
	for _, f := range set {
		f.write(b, f.slot)
	}
	return b.EndObject()
}

// vector writes numbers one after another.
func vector[T int | int32 | int64 | float32](b *flatbuffers.Builder, size int, v []T, prepend func(T)) flatbuffers.UOffsetT {
	b.StartVector(size, len(v), size)
	for i := len(v) - 1; i >= 0; i-- {
		prepend(v[i])
	}
	return b.EndVector(len(v))
}

func int32Vector(b *flatbuffers.Builder, v []int) flatbuffers.UOffsetT {
	return vector(b, flatbuffers.SizeInt32, v, func(x int) { b.PrependInt32(int32(x)) })
}

func tables(b *flatbuffers.Builder, v []flatbuffers.UOffsetT) flatbuffers.UOffsetT {
	b.StartVector(flatbuffers.SizeUOffsetT, len(v), flatbuffers.SizeUOffsetT)
	for i := len(v) - 1; i >= 0; i-- {
		b.PrependUOffsetT(v[i])
	}
	return b.EndVector(len(v))
}

// alignment is that of a buffer's bytes, which a runtime maps.
const alignment = 16

// maxFile is the size that offsets of a FlatBuffer reach.
const maxFile = 1<<31 - 1

// layout gives the bytes of buffers their places behind a finished FlatBuffer, whose tables
// point to nothing yet, and lets the tables point there: so a file is written without its
// weights being in memory together. It returns the place of each length, which precedes the
// bytes.
func layout(fb []byte, sizes []int64) ([]int64, error) {
	model := flatbuffers.Table{Bytes: fb, Pos: flatbuffers.GetUOffsetT(fb)}
	first := model.Vector(flatbuffers.UOffsetT(model.Offset(slotOf(modelBuffers))))
	places, end := make([]int64, len(sizes)), int64(len(fb))
	for i, size := range sizes {
		if size == 0 {
			continue
		}
		places[i] = (end+4+alignment-1)/alignment*alignment - 4
		end = places[i] + 4 + size
		at := model.Indirect(first + flatbuffers.UOffsetT(4*i))
		t := flatbuffers.Table{Bytes: fb, Pos: at}
		data := int64(at) + int64(t.Offset(slotOf(bufferData)))
		if end > maxFile {
			return nil, fmt.Errorf("the file would take more than %d bytes, which the format cannot hold; quantize to fewer bits", int64(maxFile))
		}
		binary.LittleEndian.PutUint32(fb[data:], uint32(places[i]-data))
	}
	return places, nil
}

// slotOf is where a vtable has a field.
func slotOf(field int) flatbuffers.VOffsetT { return flatbuffers.VOffsetT(4 + 2*field) }

// writeFile writes a FlatBuffer and behind it the bytes that load makes, one buffer after the
// other.
func writeFile(w io.Writer, fb []byte, sizes []int64, load func(i int) ([]byte, error)) error {
	places, err := layout(fb, sizes)
	if err != nil {
		return err
	}
	if _, err := w.Write(fb); err != nil {
		return err
	}
	at := int64(len(fb))
	for i, size := range sizes {
		if size == 0 {
			continue
		}
		data, err := load(i)
		if err != nil {
			return err
		}
		if int64(len(data)) != size {
			return fmt.Errorf("buffer %d has %d bytes, want %d", i, len(data), size)
		}
		head := make([]byte, places[i]-at, places[i]-at+4)
		head = binary.LittleEndian.AppendUint32(head, uint32(size))
		for _, part := range [][]byte{head, data} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		at = places[i] + 4 + size
	}
	return nil
}
