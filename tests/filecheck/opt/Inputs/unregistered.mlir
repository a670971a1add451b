"nobody.knows"() : () -> ()
