package export

import (
	"errors"
	"path/filepath"

	"eisft/docs"
	"eisft/export/hostfiles"
	"eisft/export/manifest"
	"eisft/internal/atomicfile"
)

// RuntimeFile is what a host does, beside the graphs that it drives.
const RuntimeFile = "runtime.md"

// writeForHosts writes what those need who have the exported folder alone: what a host
// does, the manifest's schema, and the hosts that were asked for.
func (w *writer) writeForHosts() error {
	errs := []error{
		atomicfile.WriteFile(filepath.Join(w.dir, RuntimeFile), docs.Runtime),
		atomicfile.WriteFile(filepath.Join(w.dir, manifest.SchemaFile), manifest.JSONSchema),
	}
	for _, name := range w.Hosts {
		errs = append(errs, hostfiles.Write(w.dir, name))
	}
	return errors.Join(errs...)
}
