package githubtest

import "github.com/getkin/kin-openapi/openapi3"

// example returns the smallest value that schema allows: required properties
// only, each as empty as it may be. Objects of which the product reads three
// fields out of eighty are made from it.
func example(schema *openapi3.SchemaRef) any {
	s := schema.Value
	switch {
	case s.Nullable:
		return nil
	case len(s.AllOf) > 0:
		return example(s.AllOf[0])
	case len(s.AnyOf) > 0:
		return example(s.AnyOf[0])
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is("object"):
		return exampleObject(s)
	case s.Type.Is("array"):
		return []any{}
	case s.Type.Is("integer"), s.Type.Is("number"):
		return 0
	case s.Type.Is("boolean"):
		return false
	}
	return exampleString(s.Format)
}

func exampleObject(s *openapi3.Schema) map[string]any {
	object := map[string]any{}
	for _, name := range s.Required {
		object[name] = example(s.Properties[name])
	}
	return object
}

func exampleString(format string) string {
	switch format {
	case "uri":
		return "https://example.com"
	case "date-time":
		return "2011-01-26T19:01:12Z"
	}
	return ""
}
