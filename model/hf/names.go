package hf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decoders are what the names of a decoder's tensors begin with in the checkpoints of the
// world, before "layers.0": as saved by a causal language model, by its body alone, and by
// multimodal models of transformers before 4.52, since then, and without a head.
var decoders = []string{"model.", "", "language_model.model.", "model.language_model.", "language_model."}

// besideParts are the parts of multimodal models that stand beside the decoder, by the first
// part of their names: towers that see or hear, and what joins them to the decoder.
var besideParts = []string{
	"vision_tower", "vision_model", "vision_encoder", "vision_embed_tokens", "visual", "vit", "image_encoder", "img_processor",
	"audio_tower", "audio_model", "audio_encoder", "embed_vision", "embed_audio",
	"multi_modal_projector", "mm_projector", "multimodal_projector", "vision_projector", "audio_projector", "projector",
	"vision_adapter", "vision_language_adapter", "vision_connector", "connector", "patch_merger", "mlp1", "image_newline",
}

// Beside returns the part of a multimodal model that a tensor belongs to, if that is known not
// to be the decoder: "vision_tower" of model.vision_tower.patch_embedding.weight.
func Beside(name string) (part string, ok bool) {
	part, _, _ = strings.Cut(strings.TrimPrefix(name, "model."), ".")
	return part, slices.Contains(besideParts, part)
}

// decoderOf returns what the names of the decoder's tensors begin with. Where no layer is
// found, it is the usual: what is missing will be said by name.
func decoderOf(names []string) (string, error) {
	var found []string
	for _, prefix := range decoders {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix+"layers.") }) {
			found = append(found, prefix)
		}
	}
	switch len(found) {
	case 0:
		return decoders[0], nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("found the layers of two decoders, %slayers and %slayers, want one: remove the tensors of the other from the file", found[0], found[1])
}

// usualName returns the name that a tensor has in the checkpoint of a causal language model
// alone; prefix is what the names of the decoder begin with.
func usualName(name, prefix string) string {
	if rest, ok := strings.CutPrefix(name, prefix); ok && prefix != "" && prefix != "language_model." {
		return "model." + rest
	}
	rest, inner := strings.CutPrefix(name, "language_model.")
	if _, beside := Beside(name); beside || prefix != "" && !(inner && strings.HasPrefix(prefix, "language_model.")) {
		return name
	}
	// What is left stands beside the body, as the head does, or is the body without a prefix.
	part, _, _ := strings.Cut(rest, ".")
	if prefix == "language_model.model." || part == "lm_head" || part == "output" {
		return rest
	}
	return "model." + rest
}

// rename gives the tensors the names that they have in the checkpoint of a causal language
// model alone, whatever they are called in the files.
func (c *Checkpoint) rename() error {
	prefix, err := decoderOf(c.Names())
	if err != nil || prefix == decoders[0] {
		return err
	}
	renamed := make(map[string]stored, len(c.tensors))
	c.inFiles = make(map[string]string, len(c.tensors))
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		usual := usualName(name, prefix)
		if other, twice := c.inFiles[usual]; twice {
			return fmt.Errorf("tensors %s and %s are both the model's %s; remove the one that is not", other, name, usual)
		}
		c.inFiles[usual], renamed[usual] = name, c.tensors[name]
	}
	c.tensors, c.decoder = renamed, prefix
	return nil
}

// nameInFiles returns what the files call a tensor, or would call it if they had it.
func (c *Checkpoint) nameInFiles(name string) string {
	if there, ok := c.inFiles[name]; ok {
		return there
	}
	if rest, ok := strings.CutPrefix(name, "model."); ok && c.inFiles != nil {
		return c.decoder + rest
	}
	return name
}
