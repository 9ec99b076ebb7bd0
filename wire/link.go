package wire

import "time"

// NewConsoleLink is the body of POST /v1/admin/keys/:key/link.
type NewConsoleLink struct {
	Role      string `json:"role"`                 // "viewer" or "developer"
	ReturnTo  string `json:"return_to,omitempty"`  // of an origin that the operator has allowed
	ExpiresIn string `json:"expires_in,omitempty"` // how long the browser stays signed in, such as "8h", which is the default
}

// ConsoleLink is a link that signs a browser in to the console of an API key, once.
type ConsoleLink struct {
	APIKey    string    `json:"api_key"`
	URL       string    `json:"url"`
	Role      string    `json:"role"`
	ReturnTo  string    `json:"return_to"`
	ExpiresAt time.Time `json:"expires_at"` // of the link
	ExpiresIn string    `json:"expires_in"` // of the sign-in, from when the link is used
}
