package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize/english"

	"eisft/data"
	"eisft/internal/bytesize"
	"eisft/internal/diskspace"
	"eisft/internal/floatcache"
	"eisft/internal/ranks"
	"eisft/model/kernels"
	"eisft/train/config"
)

// keptDir is where what the base makes of samples is kept, in the run's folder.
const keptDir = ".kept"

// keepBase runs a stage in which the engine keeps what the frozen base makes of samples, as
// the configuration has it. Ranks find each other's files. What a killed process has left is
// removed first: no limit counts it.
func (t *trainer) keepBase(run func() error) (err error) {
	dir := filepath.Join(t.Dir, keptDir)
	if err := t.write(func() error { return os.RemoveAll(dir) }); err != nil {
		return err
	}
	var c *floatcache.Cache
	switch t.config.Model.Cache {
	case config.CacheMemory:
		c = floatcache.InMemory(t.keptLimit())
	case config.CacheDisk:
		c, err = floatcache.OnDisk(dir, t.keptLimit(), func(err error) {
			if t.options.Warn != nil {
				t.options.Warn(fmt.Sprintf("model.cache: %v; what was kept is removed, and the base reads samples again", err))
			}
		})
		if err != nil {
			return err
		}
		defer func() {
			if t.group.Rank() == 0 {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	default:
		return run()
	}
	t.engine.KeepBase(c, floatcache.Name(t.inputs["model.path"], t.inputs["model.quantized"], t.rounding != nil, kernels.Bits()))
	defer func() { t.engine.KeepBase(nil, "") }()
	return run()
}

// freeOnDisk says how much a disk has room for.
var freeOnDisk = diskspace.Free

// keptRoom is how many bytes each process may keep in memory, or all of them together on disk:
// there at most half of what is free, so that checkpoints and other programs have room. ofDisk
// says that this is less than the configuration allows.
func (t *trainer) keptRoom() (bytes int64, ofDisk bool) {
	m := t.config.Model
	if free, ok := freeOnDisk(t.config.Output); ok && m.Cache == config.CacheDisk && free/2 < m.CacheBytes {
		return free / 2, true
	}
	return m.CacheBytes, false
}

// keptLimit is how many bytes a process may keep: of files, the ranks share the room.
func (t *trainer) keptLimit() int64 {
	room, _ := t.keptRoom()
	if t.config.Model.Cache == config.CacheDisk {
		room /= int64(t.size)
	}
	return room
}

// keptWhere says where samples are kept, and in how little if the disk has less than the configuration
// allows.
func (t *trainer) keptWhere() string {
	where := string(t.config.Model.Cache)
	if room, ofDisk := t.keptRoom(); ofDisk {
		where += fmt.Sprintf(" (%s at most, half of what is free in %s)", bytesize.Megabytes(room), t.config.Output)
	}
	return where
}

// keepsSamples says whether a stage keeps what the base makes of its samples.
func (t *trainer) keepsSamples(o outlook) bool {
	return o.keeps != nil && (t.config.Model.Cache == config.CacheMemory || t.config.Model.Cache == config.CacheDisk)
}

// warnOfCache says of a stage that nothing is kept, since not even one sample fits.
func (t *trainer) warnOfCache(i int, s config.Stage) {
	o := stages.Get(s.Kind()).outlook(t, s)
	if !t.keepsSamples(o) {
		return
	}
	shortest := slices.Min(t.survey.Lengths)
	for _, e := range t.validation {
		shortest = min(shortest, len(e.IDs))
	}
	least, limit := o.keeps(shortest), t.keptLimit()
	if least <= limit {
		return
	}
	of := ""
	if t.size > 1 {
		of = " of each rank"
	}
	t.options.Warn(fmt.Sprintf("stages[%d] (%s): model.cache: %s keeps nothing: the shortest sample takes %s, and there is room for %s%s; raise model.cache_bytes, make room, or leave model.cache out",
		i, s.Kind(), t.keptWhere(), bytesize.Megabytes(least), bytesize.Megabytes(limit), of))
}

// keeping follows what the processes of a stage keep, sample by sample, as their caches do.
type keeping struct {
	where        config.BaseCache
	limit        int64   // of a process
	held         []int64 // by each
	has          map[keptBy]bool
	read, spared int // samples that the stage asks for, and those of them that are kept
}

// keptBy is a sample that a rank has kept; files are found by all.
type keptBy struct{ rank, sample int }

// ask takes note that a rank asks for a sample, which takes so many bytes.
func (k *keeping) ask(rank, sample int, bytes int64) {
	at := keptBy{rank, sample}
	if k.where == config.CacheDisk {
		at.rank = 0
	}
	k.read++
	if k.has[at] {
		k.spared++
	} else if k.held[rank]+bytes <= k.limit {
		k.held[rank] += bytes
		k.has[at] = true
	}
}

// keptAgenda says what of a stage's samples will be kept, and what that saves, and returns
// how much of a process's memory it takes.
func (t *trainer) keptAgenda(s config.Stage, o outlook) (text string, memory int64, err error) {
	if !t.keepsSamples(o) {
		return "", 0, nil
	}
	where := t.config.Model.Cache
	k := keeping{where: where, limit: t.keptLimit(), held: make([]int64, t.size), has: map[keptBy]bool{}}
	sampler, err := t.source.Sampler(t.samples, uint64(t.config.Seed), data.Cursor{})
	if err != nil {
		return "", 0, err
	}
	optimizer, _ := config.OptimizerOf(s)
	each := func(n int, ask func(rank, i int)) {
		for rank := range t.size {
			for first, last := ranks.Share(rank, t.size, n); first < last; first++ {
				ask(rank, first)
			}
		}
	}
	for step := range optimizer.Steps + 1 {
		if step > 0 {
			each(optimizer.Batch, func(rank, _ int) {
				sample := sampler.Next()
				k.ask(rank, sample, o.keeps(t.survey.Lengths[sample]))
			})
		}
		if t.validates(step, optimizer) {
			each(len(t.validation), func(rank, i int) {
				k.ask(rank, len(t.samples)+i, o.keeps(len(t.validation[i].IDs)))
			})
		}
	}
	all := int64(0)
	for _, n := range k.held {
		all += n
	}
	if where == config.CacheMemory {
		memory = slices.Max(k.held)
	}
	return fmt.Sprintf("%s holds %s of %s: of %s of samples, %s are spared", t.keptWhere(), bytesize.Megabytes(all),
		english.Plural(len(k.has), "sample", ""), english.Plural(k.read, "reading", ""), comma(k.spared)), memory, nil
}
