// Package floatcache keeps floats under names, in memory or in files of a folder, up to a
// number of bytes. What does not fit is not kept, and nothing is dropped for it: where all is
// asked for in turn, epoch after epoch, that loses the least.
package floatcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Cache keeps floats. A nil Cache keeps none. Calls follow each other.
type Cache struct {
	dir    string               // of the files; "": in memory
	memory map[string][]float32 // in memory
	room   int64                // bytes that are left
	failed func(err error)
	ended  bool
	bytes  []byte // of what is read or written at once
}

// InMemory returns a cache of at most so many bytes.
func InMemory(limit int64) *Cache { return &Cache{memory: map[string][]float32{}, room: limit} }

// OnDisk returns a cache of at most so many bytes in files of a folder, which it makes. Several processes
// may have one in the same folder: each finds what the others keep. Where one cannot write a
// file, it removes the folder with all that is in it, and none of them keeps anything from then on:
// each tells failed why, once.
func OnDisk(dir string, limit int64, failed func(err error)) (*Cache, error) {
	return &Cache{dir: dir, room: limit, failed: failed}, os.MkdirAll(dir, 0o755)
}

// Name is a name for what is computed from some things alone: the SHA-256 of their texts.
func Name(of ...any) string {
	h := sha256.New()
	for _, part := range of {
		fmt.Fprintf(h, "%v\n", part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Get fills parts with what Put was given under a name, and says whether there is any.
func (c *Cache) Get(name string, parts ...[]float32) (bool, error) {
	if c == nil || c.ended {
		return false, nil
	}
	if c.dir == "" {
		kept, ok := c.memory[name]
		for _, p := range parts {
			if ok {
				kept = kept[copy(p, kept):]
			}
		}
		return ok, nil
	}
	file, err := os.Open(filepath.Join(c.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
			c.end(err)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.Size() != size(parts) {
		err = fmt.Errorf("%s has %d bytes, want %d; nothing is wrong with what it was made from: remove it and start again", file.Name(), info.Size(), size(parts))
	}
	if err != nil {
		return false, err
	}
	return true, c.each(parts, func(x []float32) error {
		if _, err := io.ReadFull(file, c.bytes); err != nil {
			return err
		}
		_, err := binary.Decode(c.bytes, binary.LittleEndian, x)
		return err
	})
}

// Put keeps parts under a name, if they fit.
func (c *Cache) Put(name string, parts ...[]float32) {
	if c == nil || c.ended || size(parts) > c.room {
		return
	}
	if c.dir == "" {
		all := make([]float32, 0, size(parts)/4)
		for _, p := range parts {
			all = append(all, p...)
		}
		c.memory[name] = all
	} else if err := c.write(name, parts); err != nil {
		c.end(err)
		return
	}
	c.room -= size(parts)
}

// end makes room on a disk that takes no more.
func (c *Cache) end(why error) {
	c.ended = true
	if errors.Is(why, fs.ErrNotExist) {
		why = fmt.Errorf("%s is gone: another process could not write there, or somebody has removed it", c.dir)
	}
	c.failed(errors.Join(why, os.RemoveAll(c.dir)))
}

// write writes a file under a temporary name. It is not synced: a cache does not outlive its
// process.
func (c *Cache) write(name string, parts [][]float32) (err error) {
	file, err := os.CreateTemp(c.dir, ".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = c.each(parts, func(x []float32) error {
		if _, err := binary.Encode(c.bytes, binary.LittleEndian, x); err != nil {
			return err
		}
		_, err := file.Write(c.bytes)
		return err
	})
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(c.dir, name))
}

// each calls f for some floats after the other, with c.bytes as long as theirs.
func (c *Cache) each(parts [][]float32, f func(x []float32) error) error {
	const chunk = 1 << 18
	if c.bytes == nil {
		c.bytes = make([]byte, 4*chunk)
	}
	whole := c.bytes
	defer func() { c.bytes = whole }()
	for _, p := range parts {
		for len(p) > 0 {
			x := p[:min(chunk, len(p))]
			c.bytes, p = whole[:4*len(x)], p[len(x):]
			if err := f(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// size is how many bytes parts take.
func size(parts [][]float32) (n int64) {
	for _, p := range parts {
		n += 4 * int64(len(p))
	}
	return n
}
