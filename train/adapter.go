package train

import (
	"errors"
	"fmt"
	"path/filepath"

	"eisft/internal/filehash"
	"eisft/model"
)

// adapted returns the model with the parameters of the adapter that the configuration
// names, if it does. The adapter is of the same base and block; layers whose slots it has
// lost to pruning have none here either.
func (t *trainer) adapted(m *model.Model) (*model.Model, error) {
	dir := t.config.Model.Adapter
	if dir == "" {
		return m, nil
	}
	fail := func(err error) (*model.Model, error) { return nil, fmt.Errorf("model.adapter: %w", err) }
	trained, err := model.LoadAdapter(m.Base, dir)
	if err != nil {
		return fail(err)
	}
	want := m.Spec
	if want.SlotLayers == nil {
		want = want.PrunedAs(trained.Spec)
	}
	if d := want.Difference(trained.Spec); d != "" {
		return fail(fmt.Errorf("%s has another block than the configuration (%s); set its keys in the section block", dir, d))
	}
	if trained.Spec.Slots == 0 && m.Spec.Slots > 0 {
		return fail(errors.New(dir + " has lost the slots of all layers to pruning; set block.slots: 0"))
	}
	t.config.Block.SlotLayers, t.Run.Config.Block.SlotLayers = trained.Spec.SlotLayers, trained.Spec.SlotLayers
	sum, err := filehash.Sum(filepath.Join(dir, model.AdapterWeights))
	if err != nil {
		return fail(err)
	}
	t.inputs["model.adapter"] = sum
	return trained, nil
}
